#include <stdio.h>

extern const char prefix[];

int main(void)
{
	printf("configured for %s\n", prefix);
	return 0;
}
