#ifndef RIGHT_H
#define RIGHT_H

/* Prints the version of this library and of those that it calls. */
void right_versions(void);

#endif
