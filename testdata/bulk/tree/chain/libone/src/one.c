#include <stdio.h>

#include "one.h"

void one_versions(void)
{
	printf(" libone %s", VERSION);
}
