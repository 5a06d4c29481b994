#ifndef TWO_H
#define TWO_H

/* Prints the version of this library and of those that it calls. */
void two_versions(void);

#endif
