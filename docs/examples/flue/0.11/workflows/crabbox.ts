// The workflow that crabbox runs commands by, for Flue 0.11.
import { runRequest } from '../crabbox-runner.mjs';

export async function run({ payload }: { payload: { requestFile: string } }) {
  return runRequest(payload.requestFile);
}
