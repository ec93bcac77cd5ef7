# Compiler flags for every target of ours, carried by one interface library.
option(BIDE_WERROR "Treat warnings as errors" OFF)
option(BIDE_TESTS "Build the tests" ON)
option(BIDE_FUZZ "Build the libFuzzer targets (clang only)" OFF)
set(BIDE_SANITIZE "" CACHE STRING "Value for -fsanitize=, e.g. address,undefined or thread")
option(BIDE_COVERAGE "Instrument for gcov" OFF)

add_library(bide_flags INTERFACE)
target_compile_options(bide_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla -Wundef
  -Wdouble-promotion -fvisibility=hidden -fno-strict-aliasing)
# snprintf into a bounded buffer is how we cut text; the warning would ask for a check where cutting is what is meant.
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(bide_flags INTERFACE -Wno-format-truncation)
endif()
target_compile_definitions(bide_flags INTERFACE _GNU_SOURCE)
if(BIDE_WERROR)
  target_compile_options(bide_flags INTERFACE -Werror)
endif()
if(BIDE_SANITIZE)
  target_compile_options(bide_flags INTERFACE "-fsanitize=${BIDE_SANITIZE}" -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(bide_flags INTERFACE "-fsanitize=${BIDE_SANITIZE}")
elseif(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  target_compile_options(bide_flags INTERFACE -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  target_link_options(bide_flags INTERFACE -Wl,-z,relro,-z,now)
endif()
# What a fuzzer is guided by: every function of ours counts its edges, not only those of the fuzz target itself.
if(BIDE_FUZZ)
  target_compile_options(bide_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(bide_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(BIDE_COVERAGE)
  target_compile_options(bide_flags INTERFACE --coverage)
  target_link_options(bide_flags INTERFACE --coverage)
endif()
