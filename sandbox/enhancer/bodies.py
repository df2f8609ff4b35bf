"""The shapes of what is asked and answered, for validation and for the OpenAPI page."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(strict=True, ge=0, le=1)]


class SubmitBody(BaseModel):
    """The contract's fields; others are ignored."""

    model: Literal["phota-image-enhance"]
    image_url: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9\[\]:.@_~-]+([/?][!-~]*)?$", max_length=8192)]
    resolution: Literal["1K", "4K"] = "4K"
    creativity: Share | None = None
    resemblance: Share | None = None
    profile_ids: list[str] | None = None


class ErrorDetail(BaseModel):
    """What went wrong; `code` where the contract has one."""

    message: str
    type: str
    code: str | None = None


class ErrorBody(BaseModel):
    """Every error's body."""

    error: ErrorDetail


class TaskInfo(BaseModel):
    """`estimated_time` in seconds, a hint."""

    can_cancel: bool
    estimated_time: int


class Usage(BaseModel):
    """What the task costs; charged at submit."""

    credits_reserved: int


class ResultLink(BaseModel):
    """Where a result is, and its type."""

    url: str
    content_type: str


class Output(BaseModel):
    """The older shape of a result."""

    url: str
    urls: list[str]
    width: int
    height: int


class TaskBody(BaseModel):
    """A task. Results come as `results` (objects or URLs) or as `output`, and may lag behind `completed`."""

    created: int
    id: str
    model: str
    object: Literal["image.generation.task"]
    progress: Annotated[int, Field(ge=0, le=100)]
    status: Literal["pending", "processing", "completed", "failed", "cancelled"]
    task_info: TaskInfo
    type: Literal["image"]
    usage: Usage
    results: list[ResultLink] | list[str] | None = None
    output: Output | None = None
    error: ErrorDetail | None = None


class Credits(BaseModel):
    """The balance, in credits."""

    remaining_credits: int
    used_credits: int


class CreditsBody(BaseModel):
    """The account."""

    success: Literal[True] = True
    message: str = ""
    data: Credits


class Model(BaseModel):
    """A model that this key may use."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelsBody(BaseModel):
    """All models that this key may use."""

    object: Literal["list"] = "list"
    data: list[Model]


class AccountChange(BaseModel):
    """What of the account to change."""

    model_config = ConfigDict(extra="forbid")

    credits: Annotated[int, Field(ge=0)] | None = None
    api_key: Annotated[str, Field(min_length=1)] | None = None
    key_valid: bool | None = None
