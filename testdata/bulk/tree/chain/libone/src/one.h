#ifndef ONE_H
#define ONE_H

/* Prints the version of this library and of those that it calls. */
void one_versions(void);

#endif
