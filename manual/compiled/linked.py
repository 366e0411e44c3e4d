"""Many compiled functions as one library: inner ones are linked, and optimized once with what calls them.

Numba optimizes each function and makes machine code of it by itself, and again inside each that calls it,
though Python calls only the outermost. `linked()` puts that off: a function without a wrapper for Python
stays as it was lowered until one that has a wrapper takes it in.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite.binding import Linkage
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.registry import cpu_target

# What Python would get that calls such a function from outside: PyObject_Call with what is not callable, so
# TypeError, where numba would leave a null pointer.
NOT_CALLABLE = ctypes.cast(ctypes.pythonapi.PyObject_Call, ctypes.c_void_p).value
# Of numba's own names, what is relied on. Where one is missing all is compiled as numba does it.
OF_CODEGEN = ("_library_class", "create_library", "set_env", "_engine")
OF_LIBRARY = (
    "add_linking_library", "get_pointer_to_function", "finalize", "_get_module_for_linking",
    "_linking_libraries", "_final_module", "_finalized", "_reload_init", "_codegen",
)  # fmt: skip
WAITING: dict[str, Any] = {}  # environments of functions that no machine code is made of so far


class Linked(JITCodeLibrary):
    """A function's code, which is made ready when Python or numba's own library asks for an address."""

    _linking_libraries: list[Any]

    def add_linking_library(self, library: Any) -> None:
        """As numba's, which would make it ready first."""
        self._linking_libraries.append(library)

    def get_pointer_to_function(self, name: str) -> int:
        """As numba's; an inner function has no such name, and is left as it is."""
        if not self._finalized and name not in {f.name for f in self._final_module.functions}:
            return NOT_CALLABLE or 0
        address: int = super().get_pointer_to_function(name)
        return address

    def finalize(self) -> None:
        """As numba's, with all that is called, each function once."""
        waiting, inner = list(self._linking_libraries), {}
        while waiting:
            library = waiting.pop()
            if library not in inner:
                inner[library] = self._part(library)
                waiting += [] if library._finalized else library._linking_libraries
        for library, part in inner.items():
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(part, preserve=True)
        self._linking_libraries = []
        for function in self._final_module.functions:  # nothing else calls them: the optimizer may know
            if not function.is_declaration and function.linkage == Linkage.linkonce_odr:
                function.linkage = Linkage.internal
        super().finalize()
        engine = self._codegen._engine
        for name in [name for name in WAITING if engine.is_symbol_defined(name)]:
            JITCPUCodegen.set_env(self._codegen, name, WAITING.pop(name))

    def _part(self, library: Any) -> Any:
        """What is linked of a library: its own functions, dropped where nothing calls them any more."""
        if library._finalized:
            return library._get_module_for_linking()
        part = library._final_module.clone()
        for function in part.functions:
            if not function.is_declaration and function.linkage == Linkage.external:
                function.linkage = Linkage.linkonce_odr
        return part


def known(codegen: Any) -> bool:
    """Whether this numba has all that is relied on: 0.61 has not, 0.68 has."""
    if not all(hasattr(codegen, name) for name in OF_CODEGEN):
        return False
    library = codegen.create_library("names")
    return all(hasattr(library, name) for name in OF_LIBRARY)


@contextmanager
def linked() -> Iterator[None]:
    """What is compiled in the block is linked before it is optimized."""
    codegen = cpu_target.target_context.codegen()
    if not known(codegen):
        yield
        return

    def set_env(name: str, environment: Any) -> None:
        if codegen._engine.is_symbol_defined(name):
            JITCPUCodegen.set_env(codegen, name, environment)
        else:
            WAITING[name] = environment

    codegen._library_class, codegen.set_env = Linked, set_env
    try:
        yield
    finally:
        del codegen._library_class, codegen.set_env
