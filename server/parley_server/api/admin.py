"""AdminService: what operators do with accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley.admin.v1 import admin_service_pb2
from parley.admin.v1.admin_service_pb2_grpc import AdminServiceServicer
from parley_runtime.refusal import Reason, Refusal
from parley_server.api.call_context import current_caller
from parley_server.api.user import user_message

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

    from parley_server.accounts.service import AccountService


class AdminServicer(AdminServiceServicer):
    """Answers AdminService from the accounts, for operators only."""

    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts

    async def CreateUser(
        self,
        request: admin_service_pb2.CreateUserRequest,
        context: ServicerContext[admin_service_pb2.CreateUserRequest, admin_service_pb2.CreateUserResponse],
    ) -> admin_service_pb2.CreateUserResponse:
        _require_operator()
        user = await self._accounts.create_user(
            request.username,
            request.password,
            request.display_name,
            operator=request.operator,
            request_id=request.request_id,
        )
        return admin_service_pb2.CreateUserResponse(user=user_message(user))

    async def SuspendUser(
        self,
        request: admin_service_pb2.SuspendUserRequest,
        context: ServicerContext[admin_service_pb2.SuspendUserRequest, admin_service_pb2.SuspendUserResponse],
    ) -> admin_service_pb2.SuspendUserResponse:
        _require_operator()
        await self._accounts.suspend_user(request.user_id, lift=request.lift)
        return admin_service_pb2.SuspendUserResponse()

    async def ResetPassword(
        self,
        request: admin_service_pb2.ResetPasswordRequest,
        context: ServicerContext[
            admin_service_pb2.ResetPasswordRequest, admin_service_pb2.ResetPasswordResponse
        ],
    ) -> admin_service_pb2.ResetPasswordResponse:
        _require_operator()
        await self._accounts.credentials.reset(request.user_id, request.new_password)
        return admin_service_pb2.ResetPasswordResponse()


def _require_operator() -> None:
    # The interceptor asks this first, for the whole package; here it holds whatever stands in front of the
    # servicer.
    if not current_caller().operator:
        raise Refusal(Reason.OPERATOR_REQUIRED, "Only operators may call this. Use an operator's token.")
