"""Loading: which sources are handlers, and who gets the context."""

import inspect
import unittest

from sortie_runner.failure import Failure
from sortie_runner.loader import Handler, compiled, load, pack, unpack


def load_it(source: str) -> Handler:
    return load(source, compiled(source))


class Loader(unittest.TestCase):
    def test_the_second_positional_parameter_is_for_the_context(self) -> None:
        for parameters, takes in [
            ("data", False),
            ("inputs, /", False),
            ("data, context", True),
            ("data, c, /", True),
            ("data, context=None", True),
            ("data, verbose=False", False),
            ("data, context, more=1", True),
            ("*args", True),
            ("data, *rest", True),
            ("data, **options", False),
            ("data, *, option=1", False),
        ]:
            with self.subTest(parameters):
                self.assertIs(load_it(f"def handle_event({parameters}): pass").takes_context, takes)

    def test_other_parameters_are_refused(self) -> None:
        for parameters in ["", "*, data", "data, context, more", "data, *, option", "**options"]:
            with self.subTest(parameters), self.assertRaises(Failure) as caught:
                load_it(f"def handle_event({parameters}): pass")
            self.assertEqual(caught.exception.code, "handler_missing")

    def test_what_does_not_compile_tells_its_line(self) -> None:
        with self.assertRaises(Failure) as caught:
            load_it("x = 1\ndef f(:\n")
        self.assertEqual(caught.exception.code, "handler_invalid")
        self.assertEqual(caught.exception.details["line"], 2)

    def test_the_source_is_a_module_that_can_be_looked_at(self) -> None:
        source = "name = __name__\ndef handle_event(data):\n    return data\n"
        handler = load_it(source)
        self.assertEqual(handler.function.__globals__["name"], "handler")
        self.assertEqual(inspect.getsource(handler.function), "def handle_event(data):\n    return data\n")

    def test_callables_of_any_kind_will_do(self) -> None:
        self.assertFalse(load_it("class H:\n def __call__(self, data): return data\nhandle_event = H()").takes_context)
        self.assertTrue(load_it("handle_event = lambda data, context: data").takes_context)
        self.assertFalse(load_it("handle_event = dict").takes_context)

    def test_code_that_was_packed_does_the_same(self) -> None:
        source = "import json\n\ndef handle_event(data):\n    return json.dumps(data)\n"
        packed = pack(compiled(source))
        assert packed is not None
        code = unpack(packed)
        assert code is not None
        self.assertEqual(load(source, code).function({"a": 1}), '{"a": 1}')

    def test_code_of_another_interpreter_is_not_read(self) -> None:
        packed = pack(compiled("def handle_event(data): pass"))
        assert packed is not None
        self.assertIsNone(unpack("00000000" + packed[8:]))

    def test_large_code_is_not_packed(self) -> None:
        self.assertIsNone(pack(compiled(f"text = {'x' * 300_000!r}\ndef handle_event(data): pass")))
