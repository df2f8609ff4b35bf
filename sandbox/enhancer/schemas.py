"""The schemas of requests and responses, for validation and for the OpenAPI page."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(strict=True, ge=0, le=1)]


class SubmitBody(BaseModel):
    """The fields of the contract. Other fields are ignored."""

    model: Literal["phota-image-enhance"]
    image_url: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9\[\]:.@_~-]+([/?][!-~]*)?$", max_length=8192)]
    resolution: Literal["1K", "4K"] = "4K"
    creativity: Share | None = None
    resemblance: Share | None = None
    profile_ids: list[str] | None = None


class ErrorDetail(BaseModel):
    """The cause of an error; `code` if the contract defines one."""

    message: str
    type: str
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorDetail


class TaskInfo(BaseModel):
    """`estimated_time` is in seconds, and only a hint."""

    can_cancel: bool
    estimated_time: int


class Usage(BaseModel):
    """The price of the task, charged at submit."""

    credits_reserved: int


class ResultLink(BaseModel):
    """The URL of a result, and its type."""

    url: str
    content_type: str


class Output(BaseModel):
    """The older form of a result."""

    url: str
    urls: list[str]
    width: int
    height: int


class TaskBody(BaseModel):
    """A task. Results are in `results` (objects or URLs) or in `output`, and can appear later than `completed`."""

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
    """A model that is available to this key."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelsBody(BaseModel):
    """All models that are available to this key."""

    object: Literal["list"] = "list"
    data: list[Model]


class AccountChange(BaseModel):
    """The changes to the account."""

    model_config = ConfigDict(extra="forbid")

    credits: Annotated[int, Field(ge=0)] | None = None
    api_key: Annotated[str, Field(min_length=1)] | None = None
    key_valid: bool | None = None
