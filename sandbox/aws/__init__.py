"""AWS on one machine: a SAM template deployed by moto, its functions run as Lambda runs them. See `cloud.Cloud`."""

from sandbox.aws import moto_services

moto_services.defer()
