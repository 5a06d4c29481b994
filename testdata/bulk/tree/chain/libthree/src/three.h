#ifndef THREE_H
#define THREE_H

/* Prints the version of this library and of those that it calls. */
void three_versions(void);

#endif
