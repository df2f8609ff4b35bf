"""What a patch replaces is restored exactly."""

from sandbox.aws.moto_patches import replacing


class Base:
    inherited = "from the base"


class Patched(Base):
    @staticmethod
    def static() -> str:
        return "original"

    @classmethod
    def named(cls) -> str:
        return cls.__name__


def test_every_kind_of_attribute_and_item_is_restored() -> None:
    before, settings = dict(vars(Patched)), {"old": 1}
    with replacing() as replace:
        for name in ("static", "named", "inherited", "added"):
            replace(Patched, name, "patched")
        replace(settings, "old", 2)
        replace(settings, "new", 3)
        assert (Patched.static, Patched.inherited, settings) == ("patched", "patched", {"old": 2, "new": 3})
    assert dict(vars(Patched)) == before
    assert settings == {"old": 1}
    assert Patched().static() == "original"
