#include <stdio.h>

int main(void)
{
	printf("fails %s\n", VERSION);
	return 0;
}
