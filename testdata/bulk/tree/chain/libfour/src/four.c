#include <stdio.h>

#include <three.h>

#include "four.h"

void four_versions(void)
{
	printf(" libfour %s", VERSION);
	three_versions();
}
