import subprocess
import json
import anthropic
import sys
import time

client = anthropic.Anthropic()

SPECIALTY = sys.argv[1]  # "backend", "ml", or "qa"

SYSTEM_PROMPTS = {
    "backend": """You are a backend development specialist.
You write production-quality Go and Python code.
You have access to the local filesystem and can create/modify files.
Return your work as a list of files created or modified.""",

    "ml": """You are a machine learning specialist.
You have access to a GPU (A100) and standard ML libraries.
You can train models, run evaluations, and produce reports.
Return results as files and summary text.""",

    "qa": """You are a QA specialist.
You write and execute tests. You run benchmarks.
You have access to test databases and CI tooling.
Return test results, coverage reports, and any failing test details.""",
}

def accept_and_execute():
    while True:
        # Poll for tasks via pilotctl
        result = subprocess.run(
            ["pilotctl", "task", "accept", "--json", "--timeout", "30"],
            capture_output=True, text=True
        )

        if result.returncode != 0:
            # No task available, retry
            time.sleep(2)
            continue

        task = json.loads(result.stdout)
        print(f"Accepted task: {task['id']} - {task['description']}")

        # Build the prompt from task description and params
        prompt = f"Task: {task['description']}\n\n"
        if "params" in task:
            prompt += "Parameters:\n"
            for k, v in task["params"].items():
                prompt += f"  {k}: {v}\n"

        # Execute with Claude API
        response = client.messages.create(
            model="claude-sonnet-4-20250514",
            max_tokens=8192,
            system=SYSTEM_PROMPTS[SPECIALTY],
            messages=[{"role": "user", "content": prompt}]
        )

        result_text = response.content[0].text
        print(f"Task {task['id']} completed, sending results...")

        # Return results via pilotctl
        subprocess.run([
            "pilotctl", "task", "send-results",
            "--task-id", task["id"],
            "--data", result_text
        ])

        print(f"Results sent for task {task['id']}")

if __name__ == "__main__":
    print(f"Worker started: specialty={SPECIALTY}")
    accept_and_execute()
