// Runs the scenarios that the arguments name, such as `chat` or `chat=MODEL`, and prints how each ended.

export async function run(scenarios) {
  for (const argument of process.argv.slice(2)) {
    const [name, value] = argument.split("=");
    const started = performance.now();
    let end;
    try {
      end = { said: await scenarios[name](value) };
    } catch (error) {
      // Some SDKs wrap the last of several errors.
      const { name, statusCode: status, message } = error.lastError ?? error;
      end = { error: name, status, message };
    }
    console.log(JSON.stringify({ ...end, scenario: argument, seconds: (performance.now() - started) / 1000 }));
  }
}
