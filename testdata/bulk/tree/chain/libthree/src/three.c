#include <stdio.h>

#include <two.h>

#include "three.h"

void three_versions(void)
{
	printf(" libthree %s", VERSION);
	two_versions();
}
