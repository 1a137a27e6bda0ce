# nvcc for the cuda kernel module, where there is one: CONCORD_CUDA is OFF from
# here on where there is none. nvcc is called for the one file that needs it, not
# made a language of the project: Debian 12's CMake does not know CUDA 13.
if(NOT CONCORD_CUDA)
  return()
endif()
if(CONCORD_SANITIZE)
  message(STATUS "The cuda kernel module is not built: sanitizers are on")
  set(CONCORD_CUDA OFF)
  return()
endif()
find_package(CUDAToolkit 12.1 QUIET)
if(NOT CUDAToolkit_FOUND OR NOT TARGET CUDA::cudart_static)
  message(STATUS "The cuda kernel module is not built: no CUDA toolkit (nvcc) from 12.1 on")
  set(CONCORD_CUDA OFF)
  return()
endif()
message(STATUS "The cuda kernel module is built with ${CUDAToolkit_NVCC_EXECUTABLE} ${CUDAToolkit_VERSION}")

# Machine code for what is in use, and code of the last one that the drivers of
# later GPUs compile.
set(CONCORD_CUDA_ARCHITECTURES "75;80;86;89;90" CACHE STRING "Architectures that the cuda kernel module is compiled for")

# concord_cuda_object(VARIABLE FILE): the object file of FILE, compiled by nvcc.
function(concord_cuda_object variable file)
  set(options -std=c++20 -O3 -fmad=false --expt-relaxed-constexpr -Xcompiler=-fPIC,-ffp-contract=off)
  foreach(architecture IN LISTS CONCORD_CUDA_ARCHITECTURES)
    list(APPEND options -gencode=arch=compute_${architecture},code=sm_${architecture})
    set(last ${architecture})
  endforeach()
  list(APPEND options -gencode=arch=compute_${last},code=compute_${last} --threads=0)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${file}.o)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${CUDAToolkit_NVCC_EXECUTABLE} ${options} -I${CMAKE_SOURCE_DIR} -MD -MF ${object}.d -c
            ${CMAKE_CURRENT_SOURCE_DIR}/${file} -o ${object}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file}
    DEPFILE ${object}.d
    COMMENT "Compiling ${file} with nvcc"
    VERBATIM)
  set(${variable} ${object} PARENT_SCOPE)
endfunction()
