#include "static.h"

const char *static_name(void)
{
	return "libstatic";
}
