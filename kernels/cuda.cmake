# Finds what the GPU parts need, once for all folders, and turns the CUDA language on.
#   GPTOSS_CUDA                ON or OFF after this file; AUTO in the cache means: when a CUDA compiler is found
#   GPTOSS_CUDA_ARCHITECTURES  90a (default) is what was tuned; "80;90a;100" compiles too
#   gptoss_nccl                target to link, there only if NCCL was found (set NCCL_ROOT where it lies elsewhere)
# Every folder that compiles .cu files links CUDA::cudart_static, so that one program holds one runtime.
set(GPTOSS_CUDA AUTO CACHE STRING "CUDA backend and GPU transports: ON, OFF, or AUTO (if a CUDA compiler is found)")
set_property(CACHE GPTOSS_CUDA PROPERTY STRINGS AUTO ON OFF)
set(GPTOSS_CUDA_ARCHITECTURES 90a CACHE STRING "GPU architectures to compile for, as in CMAKE_CUDA_ARCHITECTURES")

if(GPTOSS_CUDA STREQUAL AUTO)
  set(GPTOSS_CUDA OFF)
  # The sanitizers' shadow memory lies where CUDA wants its own.
  if(NOT GPTOSS_SANITIZE AND NOT GPTOSS_FUZZ)
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      set(GPTOSS_CUDA ON)
    endif()
  endif()
endif()
if(NOT GPTOSS_CUDA)
  message(STATUS "GPU parts: not built")
  return()
endif()

set(CMAKE_CUDA_ARCHITECTURES ${GPTOSS_CUDA_ARCHITECTURES})
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Wall,-Wextra,-Werror>")

find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${NCCL_ROOT} $ENV{NCCL_ROOT} ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2 HINTS ${NCCL_ROOT} $ENV{NCCL_ROOT} ${CUDAToolkit_LIBRARY_DIR} PATH_SUFFIXES lib lib64)
if(NCCL_INCLUDE_DIR AND NCCL_LIBRARY)
  add_library(gptoss_nccl INTERFACE IMPORTED)
  target_link_libraries(gptoss_nccl INTERFACE ${NCCL_LIBRARY})
  target_include_directories(gptoss_nccl INTERFACE ${NCCL_INCLUDE_DIR})
endif()

# A toolkit outside the loader's path (a Python environment's, a module's) is found at run time too.
set(directories ${CUDAToolkit_LIBRARY_DIR})
if(NCCL_LIBRARY)
  get_filename_component(directory ${NCCL_LIBRARY} DIRECTORY)
  list(APPEND directories ${directory})
endif()
list(REMOVE_DUPLICATES directories)
list(APPEND CMAKE_BUILD_RPATH ${directories})
list(APPEND CMAKE_INSTALL_RPATH ${directories})
if(TARGET gptoss_nccl)
  message(STATUS "GPU parts: CUDA ${CUDAToolkit_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}; NCCL ${NCCL_LIBRARY}")
else()
  message(STATUS "GPU parts: CUDA ${CUDAToolkit_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}; no NCCL found: one host only, no large messages at full speed")
endif()
