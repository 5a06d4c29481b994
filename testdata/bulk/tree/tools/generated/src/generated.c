#include <stdio.h>

#include "text.h"

int main(void)
{
	printf("generated: %s\n", TEXT);
	return 0;
}
