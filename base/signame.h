/* Signals in the words of Lambda's messages, which are Go's. Pure; a static program carries it too. */
#ifndef BASE_SIGNAME_H
#define BASE_SIGNAME_H

/* "killed", "segmentation fault"; NULL for one without a name of its own ("signal 40"). Static storage. */
const char *signal_words(int sig);

#endif
