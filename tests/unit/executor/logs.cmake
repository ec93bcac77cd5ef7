bide_test(test_logs SOURCES test_logs.c DEPS logs base PRIVATE_OF logs LIBS PkgConfig::LIBBSD Threads::Threads)
bide_test(test_logs_read SOURCES test_logs_read.c DEPS logs base PRIVATE_OF logs LIBS PkgConfig::LIBBSD Threads::Threads)
