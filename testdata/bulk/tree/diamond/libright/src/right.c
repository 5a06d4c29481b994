#include <stdio.h>

#include <base.h>

#include "right.h"

void right_versions(void)
{
	printf(" libright %s", VERSION);
	base_versions();
}
