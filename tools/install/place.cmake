# At installation: what depends on where to. Called with BIDE_BUILT, BIDE_HERE, BIDE_BINDIR, BIDE_DOCDIR set.
get_filename_component(prefix "${CMAKE_INSTALL_PREFIX}" ABSOLUTE)
set(BINDIR "${prefix}/${BIDE_BINDIR}")
# /usr has its settings in /etc; everything else is one folder.
if(prefix STREQUAL "/usr")
  set(etc "/etc/bide")
else()
  set(etc "${prefix}/etc/bide")
endif()
set(CONF "${etc}/bide.conf")
configure_file("${BIDE_HERE}/bide.service.in" "${BIDE_BUILT}/bide.service" @ONLY)
file(INSTALL "${BIDE_BUILT}/bide.service" DESTINATION "${prefix}/lib/systemd/system")
# Settings that are there stay.
if(NOT EXISTS "$ENV{DESTDIR}${CONF}")
  file(INSTALL "${BIDE_BUILT}/bide.conf" DESTINATION "${etc}")
endif()
file(INSTALL "${BIDE_BUILT}/bide.conf" DESTINATION "${prefix}/${BIDE_DOCDIR}" RENAME bide.conf.example)
