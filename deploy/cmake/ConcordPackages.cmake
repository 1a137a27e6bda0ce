# The libraries that Concord stands on, all from the distribution.
# gRPC's package file looks for re2 through pkg-config, which walks Abseil's
# graph again and again (most of a minute on Debian 13): a find file of our own
# answers at once.
set(re2_DIR ${CMAKE_SOURCE_DIR}/deploy/cmake/re2)
find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)
find_package(absl REQUIRED)
find_package(gRPC REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(TBB REQUIRED)
find_package(hwy REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)

find_library(XXHASH_LIBRARY xxhash REQUIRED)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
add_library(concord_xxhash INTERFACE)
target_include_directories(concord_xxhash SYSTEM INTERFACE ${XXHASH_INCLUDE_DIR})
target_link_libraries(concord_xxhash INTERFACE ${XXHASH_LIBRARY})

# Python: the repository's own environment where there is one.
if(NOT Python_EXECUTABLE AND EXISTS ${CMAKE_SOURCE_DIR}/.venv/bin/python)
  set(Python_EXECUTABLE ${CMAKE_SOURCE_DIR}/.venv/bin/python)
endif()
find_package(Python 3.9 REQUIRED COMPONENTS Interpreter OPTIONAL_COMPONENTS Development.Module)

if(CONCORD_TESTS)
  find_package(GTest REQUIRED)
endif()
