#include <stdio.h>

int main(void)
{
	printf("patched %s: no patch\n", VERSION);
	return 0;
}
