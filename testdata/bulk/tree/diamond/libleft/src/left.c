#include <stdio.h>

#include <base.h>

#include "left.h"

void left_versions(void)
{
	printf(" libleft %s", VERSION);
	base_versions();
}
