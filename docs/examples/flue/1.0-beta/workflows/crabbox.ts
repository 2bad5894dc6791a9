// The workflow that crabbox runs commands by, for Flue 1.0.0-beta.3 and later betas.
import { defineAgent, defineWorkflow, registerProvider } from '@flue/runtime';
import * as v from 'valibot';

import { runRequest } from '../crabbox-runner.mjs';

// Flue wants every workflow to have an agent with a model that it can find. This one is never asked
// anything: no key, no network.
registerProvider('crabbox', { api: 'openai-completions', baseUrl: 'http://127.0.0.1:9/v1', apiKey: 'none' });
const nobody = defineAgent(() => ({ model: 'crabbox/none' }));

export default defineWorkflow({
  agent: nobody,
  input: v.object({ requestFile: v.string() }),
  run: async ({ input }) => runRequest(input.requestFile),
});
