# Between installation and packing: what Debian wants otherwise than others.
set(root "${CPACK_TEMPORARY_INSTALL_DIRECTORY}")
set(doc "${root}/usr/share/doc/bide")
function(compress)
  foreach(file IN LISTS ARGN)
    execute_process(COMMAND gzip -9nf "${file}" COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
endfunction()
file(GLOB pages "${root}/usr/share/man/man*/*")
compress(${pages})
execute_process(COMMAND date -Ru OUTPUT_VARIABLE now OUTPUT_STRIP_TRAILING_WHITESPACE)
file(WRITE "${doc}/changelog" "bide (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium

  * What has changed is in CHANGELOG.md beside this file.

 -- ${CPACK_DEBIAN_PACKAGE_MAINTAINER}  ${now}
")
compress("${doc}/changelog")
file(REMOVE "${doc}/LICENSE")
# Not file(INSTALL): it would put DESTDIR before what has it already.
file(COPY "${CMAKE_CURRENT_LIST_DIR}/copyright" DESTINATION "${doc}")
file(MAKE_DIRECTORY "${root}/usr/share/lintian/overrides")
configure_file("${CMAKE_CURRENT_LIST_DIR}/lintian-overrides" "${root}/usr/share/lintian/overrides/bide" COPYONLY)
# The packing machine's umask must not show.
execute_process(COMMAND chmod -R u=rwX,go=rX "${root}/usr" "${root}/etc" COMMAND_ERROR_IS_FATAL ANY)
