#include "static.h"

const char *static_version(void)
{
	return VERSION;
}
