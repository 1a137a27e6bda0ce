# What `cmake --install build --prefix DIR` puts where:
#
#   component programs   bin/concord-server, bin/concord
#   component cpp        lib/*.a, include/concord/ (our headers under the paths
#                        that they have here, and the generated ones), and the
#                        package that find_package(Concord) finds
#
# The libraries are static, and what they stand on is the distribution's: the
# package finds it again. In it the targets are Concord::client and
# Concord::operators; the others are their parts.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Concord)
set(include_dir ${CMAKE_INSTALL_INCLUDEDIR}/concord)

set(parts checksum client compile local operators options proto wire xxhash)
set(targets)
foreach(part ${parts})
  set_target_properties(concord_${part} PROPERTIES EXPORT_NAME ${part})
  list(APPEND targets concord_${part})
endforeach()
install(TARGETS ${targets} EXPORT ConcordTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cpp
  INCLUDES DESTINATION ${include_dir})
install(EXPORT ConcordTargets NAMESPACE Concord:: DESTINATION ${package_dir} COMPONENT cpp)

install(FILES
  client/cpp/client.h client/cpp/options.h client/cpp/session.h client/cpp/step_watch.h
  DESTINATION ${include_dir}/client/cpp COMPONENT cpp)
install(DIRECTORY operators/ DESTINATION ${include_dir}/operators COMPONENT cpp
  FILES_MATCHING PATTERN "*.h" PATTERN "*-inl.h" EXCLUDE PATTERN "kernels/torch" EXCLUDE)
install(DIRECTORY ${CMAKE_BINARY_DIR}/proto/generated/concord/v1
  DESTINATION ${include_dir}/concord COMPONENT cpp
  FILES_MATCHING PATTERN "*.pb.h")
install(DIRECTORY proto/concord/v1
  DESTINATION ${CMAKE_INSTALL_DATADIR}/concord/proto/concord COMPONENT cpp
  FILES_MATCHING PATTERN "*.proto")

configure_package_config_file(deploy/cmake/ConcordConfig.cmake.in
  ${CMAKE_BINARY_DIR}/ConcordConfig.cmake INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may change the C++ interface.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/ConcordConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/ConcordConfig.cmake ${CMAKE_BINARY_DIR}/ConcordConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT cpp)
install(FILES deploy/cmake/re2/re2Config.cmake DESTINATION ${package_dir}/re2 COMPONENT cpp)

install(TARGETS concord-server concord RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  COMPONENT programs)
