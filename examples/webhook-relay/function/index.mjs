// Posts the event to the address in HOOK_URL. Any answer but 2xx, or none, is an error: bide tries again.

export const handler = async (event, context) => {
  // The sender's own id goes along, so that the other side knows a delivery that comes twice: after a retry the request id
  // is the same too, after a replay only this.
  const key = String(event.id ?? context.awsRequestId);
  let answer;
  try {
    answer = await fetch(process.env.HOOK_URL, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
      body: JSON.stringify(event),
      signal: AbortSignal.timeout(5000),
    });
  } catch (e) {
    throw new Error(`not delivered: ${e.cause?.code ?? e.message}`);
  }
  if (!answer.ok) throw new Error(`the other side answered ${answer.status}`);
  console.log(`delivered ${key}: ${answer.status}`);
  return { status: answer.status };
};
