#include <stdio.h>

int main(void)
{
	printf("#define TEXT \"made by generator %s\"\n", VERSION);
	return 0;
}
