"""rft's tests on the device, and a few of them again under compute-sanitizer."""
import json
import shutil
import subprocess

from harness import Missing


def outcome(job, command, report, timeout):
    """Counts of a GoogleTest run and the names that failed; a run that crashed has no report."""
    report.unlink(missing_ok=True)
    try:
        done = subprocess.run([*command, f"--gtest_output=json:{report}"], env=job.environment(), capture_output=True, text=True,
                              timeout=timeout)
        code, said = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as error:
        code, said = "timed out", (error.stdout or b"").decode(errors="replace")
    if code:
        (job.settings.out / f"{report.stem}.log").write_text(said[-200000:])
    if not report.exists():
        return {"error": f"no report; exit status {code}: {said[-800:]}"}
    found = json.loads(report.read_text())
    names = [f"{suite['name']}.{test['name']}" for suite in found["testsuites"] for test in suite["testsuite"]
             if test.get("failures")]
    skipped = sum(test.get("result") == "SKIPPED" for suite in found["testsuites"] for test in suite["testsuite"])
    return {"tests": found["tests"], "failed": found["failures"], "skipped": skipped, "exit_status": code,
            "names_failed": ", ".join(names[:40]), "errors_reported": errors_reported(said)}


def errors_reported(said):
    """compute-sanitizer's last line."""
    lines = [line for line in said.splitlines() if "ERROR SUMMARY" in line]
    return lines[-1].split(":", 1)[1].strip() if lines else ""


def first_of_suites(job, binary, count):
    """The first test of each suite, at most so many."""
    suites, names = job.run([binary, "--gtest_list_tests"], 30).splitlines(), []
    for suite, test in zip(suites, suites[1:]):
        if not suite.startswith(" ") and test.startswith(" "):
            names.append(suite.split()[0] + test.split()[0])
    return ":".join(names[:count])


def run(job):
    if not job.settings.rft:
        raise Missing("no folder was given by --rft")
    binaries = [path for path in sorted(job.settings.rft.glob("cuda*_tests")) if path.is_file()]
    if not binaries:
        raise Missing("no cuda*_tests in the folder given by --rft")
    for path in binaries:
        job.attempt(path.name, outcome, job, [str(path)], job.work / f"{path.name}.json", 80)
    sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    for path in binaries:
        chosen = job.settings.sanitize or first_of_suites(job, str(path), 12)
        for tool in ("memcheck", "racecheck"):
            command = [sanitizer, "--tool", tool, str(path), f"--gtest_filter={chosen}"]
            job.attempt(f"{path.name} {tool}", outcome, job, command, job.work / f"{path.name}-{tool}.json", 50)
