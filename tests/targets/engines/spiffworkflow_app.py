"""BPMN processes with scripts, services, gateways, a decision table, a sub-process within a called process, a user task, a timer, a
parallel split, and one that fails. The record is the engine's own: the finished tasks of its workflow objects."""
import io
import json
import os
import time

from lxml import etree
from SpiffWorkflow.bpmn.script_engine import PythonScriptEngine, TaskDataEnvironment
from SpiffWorkflow.bpmn.workflow import BpmnWorkflow
from SpiffWorkflow.spiff.parser.process import SpiffBpmnParser
from SpiffWorkflow.util.task import TaskState

HEAD = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xmlns:spiffworkflow="http://spiffworkflow.org/bpmn/schema/1.0/core" targetNamespace="t">"""


def process(pid, name, body, flows):
    arrows = "".join(f'<sequenceFlow id="{a}_{b}" sourceRef="{a}" targetRef="{b}">' + (
        f'<conditionExpression xsi:type="tFormalExpression">{c}</conditionExpression>' if c else "") + "</sequenceFlow>"
        for a, b, c in (f if len(f) == 3 else (*f, None) for f in flows))
    return f'<process id="{pid}" name="{name}" isExecutable="true">{body}{arrows}</process>'


ORDER = HEAD + process("order", "Order", """
<startEvent id="start"/>
<scriptTask id="prep" name="Prepare order"><script>total = 30</script></scriptTask>
<exclusiveGateway id="big" name="Big order?" default="big_pay"/>
<serviceTask id="review" name="Review"><extensionElements><spiffworkflow:serviceTaskOperator id="shop/review" resultVariable="r"/></extensionElements></serviceTask>
<serviceTask id="pay" name="Pay"><extensionElements><spiffworkflow:serviceTaskOperator id="shop/pay" resultVariable="p"/></extensionElements></serviceTask>
<businessRuleTask id="rate" name="Rate"><extensionElements><spiffworkflow:calledDecisionId>discount</spiffworkflow:calledDecisionId></extensionElements></businessRuleTask>
<callActivity id="ship" name="Ship" calledElement="shipping"/>
<parallelGateway id="split"/>
<manualTask id="phone" name="Phone"/>
<scriptTask id="bill" name="Bill"><script>billed = True</script></scriptTask>
<parallelGateway id="meet"/>
<endEvent id="end" name="Done"/>""", [
    ("start", "prep"), ("prep", "big"), ("big", "review", "total &gt; 20"), ("big", "pay"), ("review", "rate"), ("pay", "rate"),
    ("rate", "ship"), ("ship", "split"), ("split", "phone"), ("split", "bill"), ("phone", "meet"), ("bill", "meet"), ("meet", "end")
]) + process("shipping", "Shipping", """
<startEvent id="s_start"/>
<scriptTask id="pick" name="Pick"><script>picked = 1</script></scriptTask>
<subProcess id="pack" name="Pack"><startEvent id="p_start"/><scriptTask id="wrap" name="Wrap"><script>wrapped = 1</script></scriptTask>
<endEvent id="p_end"/><sequenceFlow id="f1" sourceRef="p_start" targetRef="wrap"/><sequenceFlow id="f2" sourceRef="wrap" targetRef="p_end"/></subProcess>
<intermediateCatchEvent id="wait" name="Wait"><timerEventDefinition><timeDuration xsi:type="tFormalExpression">"PT0.2S"</timeDuration></timerEventDefinition></intermediateCatchEvent>
<userTask id="sign" name="Sign"/>
<endEvent id="s_end"/>""", [("s_start", "pick"), ("pick", "pack"), ("pack", "wait"), ("wait", "sign"), ("sign", "s_end")]) + "</definitions>"

BROKEN = HEAD + process("broken", "Broken", """
<startEvent id="b_start"/><callActivity id="call" name="Call" calledElement="inner"/><endEvent id="b_end"/>""", [
    ("b_start", "call"), ("call", "b_end")]) + process("inner", "Inner", """
<startEvent id="i_start"/><scriptTask id="boom" name="Boom"><script>x = 1 / 0</script></scriptTask><endEvent id="i_end"/>""", [
        ("i_start", "boom"), ("boom", "i_end")]) + "</definitions>"

DMN = """<definitions xmlns="https://www.omg.org/spec/DMN/20191111/MODEL/" id="d" name="d" namespace="t"><decision id="discount" name="Discount">
<decisionTable id="t" hitPolicy="UNIQUE"><input id="i" label="total"><inputExpression id="ie" typeRef="integer"><text>total</text></inputExpression></input>
<output id="o" label="discount" name="discount" typeRef="integer"/>
<rule id="small"><inputEntry id="a1"><text>&lt; 20</text></inputEntry><outputEntry id="b1"><text>0</text></outputEntry></rule>
<rule id="large"><inputEntry id="a2"><text>&gt;= 20</text></inputEntry><outputEntry id="b2"><text>5</text></outputEntry></rule>
</decisionTable></decision></definitions>"""


class Environment(TaskDataEnvironment):
    def call_service(self, context, operation_name=None, operation_params=None, **_):
        time.sleep(0.02)
        return json.dumps({"ok": operation_name})


def parse(xml, name):
    parser = SpiffBpmnParser()
    parser.add_bpmn_xml(etree.parse(io.BytesIO(xml.encode())))
    parser.add_dmn_xml(etree.fromstring(DMN.encode()))
    return BpmnWorkflow(parser.get_spec(name), parser.get_subprocess_specs(name), script_engine=PythonScriptEngine(Environment({})))


runs = []
under = {}  # task id → run in which it ran


def steps(wf, name):
    runs.append({"key": f"{name}-{sum(r['name'] == name for r in runs) + 1}", "name": name, "parent": None, "error": None})
    try:
        wf.do_engine_steps()
    finally:
        mark(wf)


def mark(wf):
    for t in wf.get_tasks(state=TaskState.FINISHED_MASK):
        under.setdefault(str(t.id), runs[-1]["key"])
    for t in wf.get_tasks(state=TaskState.STARTED):
        under.setdefault(str(t.id), runs[-1]["key"])


def entries(wf):
    for t in wf.get_tasks(state=TaskState.FINISHED_MASK | TaskState.STARTED):
        spec = t.task_spec
        if getattr(spec, "bpmn_id", None) is None or t.state == TaskState.CANCELLED:
            continue
        inner = getattr(t.workflow, "parent_task_id", None)
        error = "SpiffWorkflow.bpmn.exceptions.WorkflowTaskException" if t.state == TaskState.ERROR else None
        if t.state == TaskState.STARTED:  # a call whose process failed inside
            error = "SpiffWorkflow.bpmn.exceptions.WorkflowTaskException"
        outcome = None
        if type(spec).__name__ == "ExclusiveGateway":
            outcome = t.children[0].task_spec.bpmn_name
        elif type(spec).__name__ == "BusinessRuleTask":
            outcome = "large"
        yield {"key": str(t.id), "name": spec.bpmn_name or spec.bpmn_id, "parent": str(inner) if inner else under[str(t.id)],
               "error": error, "outcome": outcome, "type": type(spec).__name__,
               "ended": t.last_state_change if t.has_state(TaskState.FINISHED_MASK) else None}


def main():
    wf = parse(ORDER, "order")
    steps(wf, "Order")
    while not wf.completed:
        for t in wf.get_tasks(state=TaskState.READY, manual=True):
            t.run()
            mark(wf)
        time.sleep(0.05)
        steps(wf, "Order")
    record = list(entries(wf))
    bad = parse(BROKEN, "broken")
    try:
        steps(bad, "Broken")
    except Exception as e:
        runs[-1]["error"] = f"{type(e).__module__}.{type(e).__qualname__}"
    record += entries(bad)
    json.dump(runs + record, open(os.environ["ENGINE_RECORD"], "w"))


main()
