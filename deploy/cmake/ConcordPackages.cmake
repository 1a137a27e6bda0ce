# The libraries that Concord stands on, all from the distribution.
# gRPC's package file looks for re2 through pkg-config, which walks Abseil's
# graph again and again (most of a minute on Debian 13): a find file of our own
# answers at once.
set(re2_DIR ${CMAKE_SOURCE_DIR}/deploy/cmake/re2)
include(CheckCXXSourceCompiles)

find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)
find_package(absl REQUIRED)
find_package(gRPC REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(TBB REQUIRED)
find_package(hwy REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_package(civetweb REQUIRED)

find_library(XXHASH_LIBRARY xxhash REQUIRED)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
add_library(concord_xxhash INTERFACE)
target_include_directories(concord_xxhash SYSTEM INTERFACE $<BUILD_INTERFACE:${XXHASH_INCLUDE_DIR}>)
target_link_libraries(concord_xxhash INTERFACE $<BUILD_INTERFACE:${XXHASH_LIBRARY}> $<INSTALL_INTERFACE:xxhash>)
# The library's choice of an instruction set at run time, where it was built
# with it (x86): 2.5 times as fast as the plain functions.
set(CMAKE_REQUIRED_INCLUDES ${XXHASH_INCLUDE_DIR})
set(CMAKE_REQUIRED_LIBRARIES ${XXHASH_LIBRARY})
check_cxx_source_compiles("
  #include <xxh_x86dispatch.h>
  int main() { return static_cast<int>(XXH3_64bits(\"\", 0)); }"
  CONCORD_XXHASH_DISPATCH)
unset(CMAKE_REQUIRED_INCLUDES)
unset(CMAKE_REQUIRED_LIBRARIES)
if(CONCORD_XXHASH_DISPATCH)
  target_compile_definitions(concord_xxhash INTERFACE $<BUILD_INTERFACE:CONCORD_XXHASH_DISPATCH>)
endif()

# Python: the repository's own environment where there is one.
if(NOT Python_EXECUTABLE AND EXISTS ${CMAKE_SOURCE_DIR}/.venv/bin/python)
  set(Python_EXECUTABLE ${CMAKE_SOURCE_DIR}/.venv/bin/python)
endif()
find_package(Python 3.9 REQUIRED COMPONENTS Interpreter OPTIONAL_COMPONENTS Development.Module)

if(CONCORD_TESTS)
  find_package(GTest REQUIRED)
endif()
