#include <stdio.h>

#include <static.h>

int main(void)
{
	printf("linked %s: %s %s\n", VERSION, static_name(), static_version());
	return 0;
}
