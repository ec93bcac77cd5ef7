# The tests of the HTTP parser and server.
bide_test(test_http1 SOURCES test_http1.c DEPS base PRIVATE_OF base)
bide_test(test_httpd SOURCES test_httpd.c DEPS base PRIVATE_OF base LIBS Threads::Threads)
