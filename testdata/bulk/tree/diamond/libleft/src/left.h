#ifndef LEFT_H
#define LEFT_H

/* Prints the version of this library and of those that it calls. */
void left_versions(void);

#endif
