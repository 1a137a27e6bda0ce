# A stand-in for re2's package file: see ConcordPackages.cmake.
if(NOT TARGET re2::re2)
  find_library(RE2_LIBRARY re2 REQUIRED)
  add_library(re2::re2 UNKNOWN IMPORTED)
  set_target_properties(re2::re2 PROPERTIES IMPORTED_LOCATION ${RE2_LIBRARY})
endif()
set(re2_FOUND TRUE)
