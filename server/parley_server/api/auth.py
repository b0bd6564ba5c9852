"""AuthService: sign-up, log-in and devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley.auth.v1 import auth_service_pb2, device_pb2, token_pair_pb2
from parley.auth.v1.auth_service_pb2_grpc import AuthServiceServicer
from parley_runtime.refusal import invalid_field
from parley_server.api.call_context import current_caller
from parley_server.api.paging import page_size_of, page_token_for, place_of
from parley_server.api.user import user_message

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

    from parley_server.accounts.devices import TokenPair
    from parley_server.accounts.service import AccountService
    from parley_server.ports.accounts import DeviceRow


class AuthServicer(AuthServiceServicer):
    """Answers AuthService from the accounts."""

    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts

    async def SignUp(
        self,
        request: auth_service_pb2.SignUpRequest,
        context: ServicerContext[auth_service_pb2.SignUpRequest, auth_service_pb2.SignUpResponse],
    ) -> auth_service_pb2.SignUpResponse:
        logged_in = await self._accounts.sign_up(
            request.username, request.password, request.display_name, request.device_name, request.request_id
        )
        return auth_service_pb2.SignUpResponse(
            user=user_message(logged_in.user),
            device_id=logged_in.device_id,
            tokens=token_pair_message(logged_in.tokens),
        )

    async def LogIn(
        self,
        request: auth_service_pb2.LogInRequest,
        context: ServicerContext[auth_service_pb2.LogInRequest, auth_service_pb2.LogInResponse],
    ) -> auth_service_pb2.LogInResponse:
        logged_in = await self._accounts.log_in(
            request.username, request.password, request.device_name, request.request_id
        )
        return auth_service_pb2.LogInResponse(
            user=user_message(logged_in.user),
            device_id=logged_in.device_id,
            tokens=token_pair_message(logged_in.tokens),
        )

    async def Refresh(
        self,
        request: auth_service_pb2.RefreshRequest,
        context: ServicerContext[auth_service_pb2.RefreshRequest, auth_service_pb2.RefreshResponse],
    ) -> auth_service_pb2.RefreshResponse:
        tokens = await self._accounts.devices.refresh(request.refresh_token)
        return auth_service_pb2.RefreshResponse(tokens=token_pair_message(tokens))

    async def LogOut(
        self,
        request: auth_service_pb2.LogOutRequest,
        context: ServicerContext[auth_service_pb2.LogOutRequest, auth_service_pb2.LogOutResponse],
    ) -> auth_service_pb2.LogOutResponse:
        caller = current_caller()
        await self._accounts.devices.revoke(caller.user_id, caller.device_id)
        return auth_service_pb2.LogOutResponse()

    async def ChangePassword(
        self,
        request: auth_service_pb2.ChangePasswordRequest,
        context: ServicerContext[
            auth_service_pb2.ChangePasswordRequest, auth_service_pb2.ChangePasswordResponse
        ],
    ) -> auth_service_pb2.ChangePasswordResponse:
        caller = current_caller()
        await self._accounts.credentials.change(
            caller.user_id,
            caller.device_id,
            request.old_password,
            request.new_password,
            keep_other_devices=request.keep_other_devices,
        )
        return auth_service_pb2.ChangePasswordResponse()

    async def ListDevices(
        self,
        request: auth_service_pb2.ListDevicesRequest,
        context: ServicerContext[auth_service_pb2.ListDevicesRequest, auth_service_pb2.ListDevicesResponse],
    ) -> auth_service_pb2.ListDevicesResponse:
        caller = current_caller()
        page_size = page_size_of(request.page_size)
        place = place_of(request.page_token, int, str)
        before = None if place is None else (int(place[0]), str(place[1]))
        rows = await self._accounts.devices.list_live(caller.user_id, before=before, limit=page_size + 1)
        page = rows[:page_size]
        more = len(rows) > page_size
        return auth_service_pb2.ListDevicesResponse(
            devices=[device_message(row, current=row.device_id == caller.device_id) for row in page],
            next_page_token=page_token_for(page[-1].create_time_ms, page[-1].device_id) if more else "",
        )

    async def RevokeDevice(
        self,
        request: auth_service_pb2.RevokeDeviceRequest,
        context: ServicerContext[auth_service_pb2.RevokeDeviceRequest, auth_service_pb2.RevokeDeviceResponse],
    ) -> auth_service_pb2.RevokeDeviceResponse:
        if not request.device_id:
            raise invalid_field("device_id", "is required")
        await self._accounts.devices.revoke(current_caller().user_id, request.device_id)
        return auth_service_pb2.RevokeDeviceResponse()

    async def GetJwks(
        self,
        request: auth_service_pb2.GetJwksRequest,
        context: ServicerContext[auth_service_pb2.GetJwksRequest, auth_service_pb2.GetJwksResponse],
    ) -> auth_service_pb2.GetJwksResponse:
        return auth_service_pb2.GetJwksResponse(jwks_json=self._accounts.jwks_json())


def token_pair_message(tokens: TokenPair) -> token_pair_pb2.TokenPair:
    """The tokens as clients get them."""
    message = token_pair_pb2.TokenPair(access_token=tokens.access_token, refresh_token=tokens.refresh_token)
    message.access_expire_time.FromMilliseconds(tokens.access_expire_time_ms)
    message.refresh_expire_time.FromMilliseconds(tokens.refresh_expire_time_ms)
    return message


def device_message(row: DeviceRow, *, current: bool) -> device_pb2.Device:
    """The device as its user sees it; `current` for the one that asks."""
    message = device_pb2.Device(device_id=row.device_id, device_name=row.device_name, current=current)
    message.create_time.FromMilliseconds(row.create_time_ms)
    message.refresh_time.FromMilliseconds(row.refresh_time_ms)
    return message
