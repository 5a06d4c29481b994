#include <stdio.h>

int main(void)
{
	char text[80];
	FILE *file = fopen(PREFIX "/share/hello/hello.txt", "r");

	if (file == NULL || fgets(text, sizeof text, file) == NULL)
		return 1;
	printf("hello %s: %s", VERSION, text);
	return 0;
}
