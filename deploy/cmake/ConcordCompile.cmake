# How our own code is compiled. Results must be the same bits everywhere: no
# contraction, no -ffast-math. Generated and foreign code is not held to our
# warnings (it comes in as SYSTEM).
add_library(concord_compile INTERFACE)
target_include_directories(concord_compile INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>)
target_compile_options(concord_compile INTERFACE $<BUILD_INTERFACE:-Wall> $<BUILD_INTERFACE:-Wextra>
                                                 $<BUILD_INTERFACE:-ffp-contract=off>)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(concord_compile INTERFACE $<BUILD_INTERFACE:-Wthread-safety>)
endif()
if(CONCORD_SANITIZE)
  # g++ warns of what the sanitizers' own code seems to leave uninitialised.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(concord_compile INTERFACE $<BUILD_INTERFACE:-Wno-maybe-uninitialized>)
  endif()
  # Debian's gRPC and Abseil are not instrumented; vptr checks need their RTTI.
  add_compile_options(-fsanitize=${CONCORD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
                      -fno-sanitize=vptr)
  add_link_options(-fsanitize=${CONCORD_SANITIZE} -fno-sanitize=vptr)
endif()
