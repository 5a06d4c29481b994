#include <stdio.h>

#include "base.h"

void base_versions(void)
{
	printf(" libbase %s", VERSION);
}
