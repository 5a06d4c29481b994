#include <stdio.h>

#include <four.h>

#include "five.h"

void five_versions(void)
{
	printf(" libfive %s", VERSION);
	four_versions();
}
