"""`dfdc profiles`: the hosted runtimes whose limits a run can be given."""

from dfdc_kit.cli.console import JsonOption, out, print_json
from dfdc_kit.formatting import plural


def profiles(as_json: JsonOption = False) -> None:
    """List the runtime profiles and their limits.

    Examples:

        dfdc profiles
        dfdc profiles --json
    """
    from rich.table import Table

    from dfdc_kit import profiles as runtime_profiles

    loaded = {name: runtime_profiles.load(name) for name in runtime_profiles.names()}
    if as_json:
        return print_json(loaded)
    table = Table("profile", "time", "per video", "memory", "output", "network", "machine", box=None, pad_edge=False)
    for name, profile in loaded.items():
        limits, hardware = profile.limits, profile.hardware
        cores = plural(hardware.cpu_cores, "core") if hardware.cpu_cores else ""
        table.add_row(
            name,
            f"{limits.wall_time_s / 3600:g} h" if limits.wall_time_s else "-",
            f"{profile.seconds_per_video:.3g} s" if profile.seconds_per_video else "-",
            f"{limits.memory_bytes / 2**30:g} GiB" if limits.memory_bytes else "-",
            f"{limits.output_bytes / 2**30:g} GiB" if limits.output_bytes else "-",
            "yes" if limits.network else "no",
            ", ".join(filter(None, [hardware.gpu, cores])) or "-",
        )
    out.print(table)
    return None
