#include <stdio.h>

#include <five.h>

int main(void)
{
	printf("chain %s:", VERSION);
	five_versions();
	printf("\n");
	return 0;
}
