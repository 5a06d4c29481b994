#include <stdio.h>

#include <one.h>

#include "two.h"

void two_versions(void)
{
	printf(" libtwo %s", VERSION);
	one_versions();
}
