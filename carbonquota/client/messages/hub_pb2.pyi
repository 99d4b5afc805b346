from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WriteRequest(_message.Message):
    __slots__ = ("customer", "provider", "size", "control")
    CUSTOMER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    customer: str
    provider: str
    size: int
    control: str
    def __init__(self, customer: _Optional[str] = ..., provider: _Optional[str] = ..., size: _Optional[int] = ..., control: _Optional[str] = ...) -> None: ...

class WriteReply(_message.Message):
    __slots__ = ("ok", "granted", "delay", "valid_for", "left", "retry_after", "reason")
    OK_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    DELAY_FIELD_NUMBER: _ClassVar[int]
    VALID_FOR_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ok: bool
    granted: int
    delay: float
    valid_for: float
    left: int
    retry_after: float
    reason: str
    def __init__(self, ok: _Optional[bool] = ..., granted: _Optional[int] = ..., delay: _Optional[float] = ..., valid_for: _Optional[float] = ..., left: _Optional[int] = ..., retry_after: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class WriteBatchRequest(_message.Message):
    __slots__ = ("customers", "providers", "sizes", "control")
    CUSTOMERS_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    customers: _containers.RepeatedScalarFieldContainer[str]
    providers: _containers.RepeatedScalarFieldContainer[str]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    control: str
    def __init__(self, customers: _Optional[_Iterable[str]] = ..., providers: _Optional[_Iterable[str]] = ..., sizes: _Optional[_Iterable[int]] = ..., control: _Optional[str] = ...) -> None: ...

class WriteBatchReply(_message.Message):
    __slots__ = ("granted", "delays", "refused", "valid_for")
    class RefusedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: WriteReply
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[WriteReply, _Mapping]] = ...) -> None: ...
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    DELAYS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    VALID_FOR_FIELD_NUMBER: _ClassVar[int]
    granted: _containers.RepeatedScalarFieldContainer[int]
    delays: _containers.RepeatedScalarFieldContainer[float]
    refused: _containers.MessageMap[int, WriteReply]
    valid_for: float
    def __init__(self, granted: _Optional[_Iterable[int]] = ..., delays: _Optional[_Iterable[float]] = ..., refused: _Optional[_Mapping[int, WriteReply]] = ..., valid_for: _Optional[float] = ...) -> None: ...

class DeletedReply(_message.Message):
    __slots__ = ("given_back",)
    GIVEN_BACK_FIELD_NUMBER: _ClassVar[int]
    given_back: int
    def __init__(self, given_back: _Optional[int] = ...) -> None: ...

class Utilization(_message.Message):
    __slots__ = ("provider", "time", "complete", "customers", "columns")
    class Column(_message.Message):
        __slots__ = ("control", "amounts")
        CONTROL_FIELD_NUMBER: _ClassVar[int]
        AMOUNTS_FIELD_NUMBER: _ClassVar[int]
        control: str
        amounts: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, control: _Optional[str] = ..., amounts: _Optional[_Iterable[int]] = ...) -> None: ...
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    CUSTOMERS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    provider: str
    time: float
    complete: bool
    customers: _containers.RepeatedScalarFieldContainer[str]
    columns: _containers.RepeatedCompositeFieldContainer[Utilization.Column]
    def __init__(self, provider: _Optional[str] = ..., time: _Optional[float] = ..., complete: _Optional[bool] = ..., customers: _Optional[_Iterable[str]] = ..., columns: _Optional[_Iterable[_Union[Utilization.Column, _Mapping]]] = ...) -> None: ...

class UtilizationReply(_message.Message):
    __slots__ = ("values", "unknown", "such_as")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    SUCH_AS_FIELD_NUMBER: _ClassVar[int]
    values: int
    unknown: int
    such_as: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[int] = ..., unknown: _Optional[int] = ..., such_as: _Optional[_Iterable[str]] = ...) -> None: ...

class CustomerRequest(_message.Message):
    __slots__ = ("customer",)
    CUSTOMER_FIELD_NUMBER: _ClassVar[int]
    customer: str
    def __init__(self, customer: _Optional[str] = ...) -> None: ...

class CustomerUtilization(_message.Message):
    __slots__ = ("values", "fresh_within")
    class Value(_message.Message):
        __slots__ = ("provider", "control", "usage", "limit", "age", "stale")
        PROVIDER_FIELD_NUMBER: _ClassVar[int]
        CONTROL_FIELD_NUMBER: _ClassVar[int]
        USAGE_FIELD_NUMBER: _ClassVar[int]
        LIMIT_FIELD_NUMBER: _ClassVar[int]
        AGE_FIELD_NUMBER: _ClassVar[int]
        STALE_FIELD_NUMBER: _ClassVar[int]
        provider: str
        control: str
        usage: int
        limit: int
        age: float
        stale: bool
        def __init__(self, provider: _Optional[str] = ..., control: _Optional[str] = ..., usage: _Optional[int] = ..., limit: _Optional[int] = ..., age: _Optional[float] = ..., stale: _Optional[bool] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FRESH_WITHIN_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[CustomerUtilization.Value]
    fresh_within: float
    def __init__(self, values: _Optional[_Iterable[_Union[CustomerUtilization.Value, _Mapping]]] = ..., fresh_within: _Optional[float] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("bytes", "physical_bytes", "metrics", "data_points", "points_per_minute")
    BYTES_FIELD_NUMBER: _ClassVar[int]
    PHYSICAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    DATA_POINTS_FIELD_NUMBER: _ClassVar[int]
    POINTS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    physical_bytes: int
    metrics: int
    data_points: int
    points_per_minute: int
    def __init__(self, bytes: _Optional[int] = ..., physical_bytes: _Optional[int] = ..., metrics: _Optional[int] = ..., data_points: _Optional[int] = ..., points_per_minute: _Optional[int] = ...) -> None: ...

class Quota(_message.Message):
    __slots__ = ("customer", "provider", "limits", "version")
    CUSTOMER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    customer: str
    provider: str
    limits: Limits
    version: int
    def __init__(self, customer: _Optional[str] = ..., provider: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class Quotas(_message.Message):
    __slots__ = ("quotas", "fresh_within")
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    FRESH_WITHIN_FIELD_NUMBER: _ClassVar[int]
    quotas: _containers.RepeatedCompositeFieldContainer[Quota]
    fresh_within: float
    def __init__(self, quotas: _Optional[_Iterable[_Union[Quota, _Mapping]]] = ..., fresh_within: _Optional[float] = ...) -> None: ...

class SetQuotasRequest(_message.Message):
    __slots__ = ("quotas", "why")
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    quotas: _containers.RepeatedCompositeFieldContainer[Quota]
    why: str
    def __init__(self, quotas: _Optional[_Iterable[_Union[Quota, _Mapping]]] = ..., why: _Optional[str] = ...) -> None: ...

class Changed(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...
