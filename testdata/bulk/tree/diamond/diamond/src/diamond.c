#include <stdio.h>

#include <left.h>
#include <right.h>

int main(void)
{
	printf("diamond %s:", VERSION);
	left_versions();
	right_versions();
	printf("\n");
	return 0;
}
