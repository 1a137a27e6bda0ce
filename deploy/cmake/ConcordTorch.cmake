# LibTorch for the torch kernel module, from the PyTorch of ${Python_EXECUTABLE}.
#
# Not find_package(Torch): that of a CUDA wheel stops where no CUDA toolkit is
# installed, and puts the wheel's own protobuf headers in front of the system's.
# All that is needed are its headers and two libraries; the CUDA half is opened
# at run time. `libtorch.so` is a stub that pulls in CUDA: not linked.
#
# Defines the target concord_libtorch. Nothing but the module may use it.
execute_process(
  COMMAND ${Python_EXECUTABLE} -c
          "import importlib.util as u; print(list(u.find_spec('torch').submodule_search_locations)[0])"
  OUTPUT_VARIABLE CONCORD_TORCH_DIR
  OUTPUT_STRIP_TRAILING_WHITESPACE
  ERROR_QUIET
  RESULT_VARIABLE result)
if(NOT result EQUAL 0 OR NOT EXISTS ${CONCORD_TORCH_DIR}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "CONCORD_TORCH is ON but ${Python_EXECUTABLE} has no PyTorch: install it there "
                      "(deploy/setup.sh does) or configure with -DCONCORD_TORCH=OFF")
endif()

add_library(concord_libtorch INTERFACE)
target_include_directories(concord_libtorch SYSTEM INTERFACE ${CONCORD_TORCH_DIR}/include)
target_link_directories(concord_libtorch INTERFACE ${CONCORD_TORCH_DIR}/lib)
target_link_libraries(concord_libtorch INTERFACE ${CONCORD_TORCH_DIR}/lib/libtorch_cpu.so
                                                 ${CONCORD_TORCH_DIR}/lib/libc10.so)
target_link_options(concord_libtorch INTERFACE -Wl,--allow-shlib-undefined
                    -Wl,-rpath,${CONCORD_TORCH_DIR}/lib)

# The module hands std::string across: both sides need the same one.
include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_LIBRARIES ${CONCORD_TORCH_DIR}/lib/libc10.so -Wl,--allow-shlib-undefined)
check_cxx_source_compiles("
  #include <string>
  namespace c10 { class Error; namespace detail {
  [[noreturn]] void torchCheckFail(const char*, const char*, unsigned int, const std::string&);
  } }
  int main() { c10::detail::torchCheckFail(\"\", \"\", 0, std::string()); }
  " CONCORD_TORCH_CXX11_ABI)
unset(CMAKE_REQUIRED_LIBRARIES)
if(NOT CONCORD_TORCH_CXX11_ABI)
  message(FATAL_ERROR "The PyTorch in ${CONCORD_TORCH_DIR} is built with another std::string "
                      "(_GLIBCXX_USE_CXX11_ABI=0): torch >= 2.7 is needed")
endif()
